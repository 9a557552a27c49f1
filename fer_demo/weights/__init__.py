"""Weights that come with the package; `fer_demo.classifier.SHIPPED` names them."""
