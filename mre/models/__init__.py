"""The model: reward condition (Eq. 5-6), reward encoder (Eq. 2), reward U-Net (Eq. 3) and the names weights are known by."""
