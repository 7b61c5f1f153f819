"""What judges and editors on servers share: address and key, budget, and answers that are kept. No torch here."""
