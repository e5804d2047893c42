"""The whole job from end to end, on real parts."""
