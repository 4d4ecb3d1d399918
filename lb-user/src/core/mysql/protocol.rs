//! What MySQL and MariaDB say on the wire, as pure functions and state machines.
//!
//! Owns the layout of packets, the login dialogues of both sides, the end of a response, and the order of
//! GTIDs. Never reads a socket, a clock or a random source: bytes, seeds and facts are arguments.

pub mod auth;
pub mod capabilities;
pub mod command;
pub mod gtid;
pub mod handshake;
pub mod packet;
pub mod response;
pub mod status;
