"""The circuit as a picture: values in green, gradients in red."""
