"""A detector as a folder that can be published: weights, settings and card, none of them a pickle."""
