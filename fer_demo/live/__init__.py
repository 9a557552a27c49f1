"""The parts of the camera's program: frames in; faces, their tracks, a picture and files out."""
