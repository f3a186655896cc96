"""What a model card says, see `scripts.card.command`."""
