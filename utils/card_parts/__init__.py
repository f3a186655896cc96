"""What a model card says, see utils.card."""
