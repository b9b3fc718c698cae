"""Views: what they are, what is drawn for each image, and the executors that carry it out."""
