"""What the answers of the page cost."""
