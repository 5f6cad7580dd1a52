//! Who may come in: the same layer for gRPC and HTTP turns whatever credential a request has into a
//! [`Caller`]. Nothing behind the gate sees a token.

mod address;
mod answers;
mod budgets;
mod caller;
mod calls;
mod certificates;
mod denied;
mod extract;
mod failures;
mod grant;
mod issuer;
mod jwks;
mod jwt;
mod keys;
mod layer;
mod options;
mod origin;
mod places;
mod rate;
mod refusals;
mod revocations;
mod secret;
mod tool;
mod unfinished;

pub use budgets::Budget;
pub use caller::{Caller, Credential, Identity, Open, Permit};
pub use calls::{CallLayer, CallLimits, Judged};
pub use certificates::{Grants, GrantsError, GrantsFile};
pub use denied::{Denied, Unserved};
pub use extract::{Observer, Publisher, caller, denial_in};
pub use grant::{Grant, Patterns};
pub use issuer::{FetchError, Issuer};
pub use jwks::KeySetError;
pub use jwt::{Expected, Key, TokenError};
pub use keys::Keys;
pub use layer::{BEARER_PROTOCOL, Gate, GateLayer};
pub use options::{Options, SubscriberAuth};
pub use origin::{OriginPattern, Origins};
pub use places::Place;
pub use rate::{Bucket, Rate, RateLimit};
pub use refusals::{Reason, Refusals};
pub use revocations::{Revocations, Watch};
pub use secret::Secret;
pub use tool::{Tool, ToolError};
pub use unfinished::{Charge, Share, Unfinished};
