"""Pools of images from elsewhere that a method may draw on, one file each."""
