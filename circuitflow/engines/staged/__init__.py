"""Python source compiled for one circuit."""
