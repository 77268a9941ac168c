//! Who this client is to the broker, and whether the broker is the right one: tokens for OAUTHBEARER, and the
//! certificate that a broker shows.

mod attached;
mod certificate;
#[cfg(feature = "oauth")]
mod client_credentials;
#[cfg(feature = "msk-iam")]
mod msk_iam;
mod renewal;
mod settings;
mod token;

pub(crate) use attached::Attached;
pub(crate) use certificate::{Certificate, Verifies, watch};
#[cfg(feature = "oauth")]
pub use client_credentials::ClientCredentials;
#[cfg(feature = "msk-iam")]
pub use msk_iam::{AwsCredentials, AwsCredentialsSource, EnvironmentCredentials, MskIam};
pub(crate) use renewal::Tokens;
pub(crate) use settings::{AWS_MSK_IAM, Settings, is_ours};
pub(crate) use token::SharedTokenSource;
pub use token::{Token, TokenError, TokenSource};
