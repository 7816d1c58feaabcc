//! Topics as a machine: commands, image, apply.
