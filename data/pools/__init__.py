"""Out-of-distribution (OOD) pools of unlabelled images, one file each."""
