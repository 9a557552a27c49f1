"""What each part of a recipe does: trained with it and without, with the same seeds."""
