//! Who may come in: the same layer for gRPC and HTTP turns whatever credential a request has into a
//! [`Principal`](crate::domain::Principal). Nothing behind the gate sees a token.

mod extract;
mod layer;
mod secret;

pub use extract::{Publisher, Reader};
pub use layer::{Gate, GateLayer};
pub use secret::Secret;

/// The settings of the gate.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "gate")]
#[command(next_help_heading = "Access")]
pub struct Options {
    /// The token that publishers present.
    #[arg(
        long = "ws-token",
        env = "WS_TOKEN",
        default_value = "dev",
        value_name = "TOKEN",
        hide_env_values = true,
        hide_default_value = false
    )]
    pub token: Secret,
}
