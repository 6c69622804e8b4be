"""Fine-tuning data made on your own machine."""
