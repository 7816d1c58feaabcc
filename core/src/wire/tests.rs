//! Messages against the bytes of release 0.0.22, against the `postcard` crate, and against bytes
//! that mean harm.

mod golden;
mod hostile;
