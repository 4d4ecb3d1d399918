//! Names: of nodes, VIPs, services, backends and rules. All follow one rule.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ModelError;

/// Longest name of a node, VIP, service, backend or rule, in characters.
pub const NAME_LEN_MAX: usize = 63;

/// Checks the rule all names follow: 1 to 63 ASCII letters, digits, `-`, `_` and `.`.
fn check_name(given: &str) -> Result<(), ModelError> {
    let wrong = |why| Err(ModelError::Name { given: given.to_owned(), why });
    if given.is_empty() {
        return wrong("it is empty");
    }
    if !given.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return wrong("only the letters a-z and A-Z, digits, '-', '_' and '.' may be in it");
    }
    if given.len() > NAME_LEN_MAX {
        return wrong("it is longer than 63 characters");
    }
    // Names become file names (pins) and parts of URLs, where these two mean something else.
    if given == "." || given == ".." {
        return wrong("it would mean a folder");
    }
    Ok(())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Makes a name of a text that follows the rule for names.
            pub fn new(name: impl Into<String>) -> Result<Self, ModelError> {
                let name = name.into();
                check_name(&name)?;
                Ok(Self(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ModelError;
            fn from_str(text: &str) -> Result<Self, ModelError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = ModelError;
            fn try_from(text: String) -> Result<Self, ModelError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // Lets maps keyed by this name be asked with a plain `&str`.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// The name of a node: one machine that runs the agent.
    NodeName;
    /// The name of a VIP, for example `A`.
    VipName;
    /// The name of a service, for example `web`.
    ServiceName;
    /// The name of a backend, unique within its service, for example `web1`.
    BackendName;
    /// The name of a rule of the firewall, for example `office`.
    RuleName;
    /// The name of something that priorities of virtual routers hang on, for example `uplink`.
    TrackerName;
    /// The name of VIPs that move together, for example `front`.
    GroupName;
}
