"""Training of judges: labels from anywhere, likelihoods, one loop for every body, and a report on sources that were held out."""
