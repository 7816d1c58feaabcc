//! Metadata consensus for clusters; holds no code before the cluster does.
