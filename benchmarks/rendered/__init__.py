"""What a picture costs: rendered frames and thumbnails."""
