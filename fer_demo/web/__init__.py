"""A page in the browser that shows what the network makes of faces: `python -m fer_demo.web`."""
