"""Views: augmentation specs, sampling of their parameters, and the augmentation backends that apply them."""
