"""Views: what they are, what is drawn for each image, and the backends that carry it out."""
