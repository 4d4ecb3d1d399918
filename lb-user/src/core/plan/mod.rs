//! From what is wanted and what the maps hold to the steps between them.
//!
//! [`Desired`] says it in names, [`Image`] in ids as the kernel's maps have them. [`steps`] allots ids and
//! slot ranges and orders the work so that a packet never meets a half-made state: what is pointed to is
//! written before what points to it, and what is removed loses its pointer first. [`firewall`] compiles the firewall's
//! rules. Owns no map.

mod desired;
pub mod firewall;
mod image;
mod steps;

pub use desired::{Availability, AvailabilityMap, Desired, SteeredBackend, Steering, SteeringKey, desire};
pub use image::{BackendEntry, Image, LimitEntry, ServiceAddress, ServiceEntry, name_hash};
pub use steps::{PlanError, Step, steps};

#[cfg(test)]
mod tests;
