"""Is a detector right for the right reason: shortcuts of a corpus, and scores of its clips after changes."""
