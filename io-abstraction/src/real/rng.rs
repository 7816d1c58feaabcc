//! The operating system's entropy.

use crate::rng::RngOps;

/// The machine's entropy.
#[derive(Clone)]
pub struct RealRng;

impl RngOps for RealRng {
    /// Waits until the kernel's pool is seeded, which it is long before a broker starts.
    fn fill(&self, bytes: &mut [u8]) {
        fill_from_system(bytes).expect("a machine that runs this has a source of entropy");
    }
}

#[cfg(target_os = "linux")]
fn fill_from_system(mut bytes: &mut [u8]) -> std::io::Result<()> {
    use rustix::io::Errno;
    use rustix::rand::{GetRandomFlags, getrandom};

    while !bytes.is_empty() {
        match getrandom(&mut *bytes, GetRandomFlags::empty()) {
            Ok(count) => bytes = &mut bytes[count..],
            Err(Errno::INTR) => {}
            // A sandbox may refuse the system call and still have the device.
            Err(Errno::NOSYS | Errno::PERM) => return fill_from_device(bytes),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn fill_from_system(bytes: &mut [u8]) -> std::io::Result<()> {
    fill_from_device(bytes)
}

fn fill_from_device(bytes: &mut [u8]) -> std::io::Result<()> {
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fill = fn(&mut [u8]) -> std::io::Result<()>;

    #[test]
    fn both_sources_fill_buffers_of_every_size() {
        for fill in [fill_from_system as Fill, fill_from_device as Fill] {
            for len in [0, 1, 16, 256, 257, 1 << 20] {
                let mut bytes = vec![0; len];
                fill(&mut bytes).unwrap();
                // 64 zeros in a row have a chance of 2^-512.
                assert!(bytes.chunks_exact(64).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
            }
        }
    }
}
