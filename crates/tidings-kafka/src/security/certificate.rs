//! Why a broker's certificate is not trusted. librdkafka says the same of an unknown authority and of a wrong host; only
//! the callback that looks at each certificate learns the difference.
#![allow(unsafe_code, reason = "librdkafka is C; each block says why it is sound")]

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::bindings as c;
use rdkafka::config::NativeClientConfig;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicI32, Ordering};

/// The last certificate that was refused, by OpenSSL's number of the reason. Zero is none.
#[derive(Debug, Default)]
pub(crate) struct Certificate(AtomicI32);

/// The context of a client whose broker's certificate is watched.
pub(crate) trait Verifies: ClientContext {
    fn certificate(&self) -> &Certificate;
}

impl Certificate {
    /// What is wrong with it and what to do.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        words(self.0.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    pub(crate) fn refused(number: i32) -> Self {
        Self(AtomicI32::new(number))
    }
}

/// Words for OpenSSL's numbers, which are part of its interface (`X509_V_ERR_…`).
fn words(number: i32) -> Option<&'static str> {
    Some(match number {
        0 => return None,
        9 => "the broker's certificate is not valid yet: look at this machine's clock",
        10 => "the broker's certificate has expired: renew it, or look at this machine's clock",
        18..=21 => {
            "the broker's certificate comes from an authority that is not trusted here: set \"ssl.ca.location\" or \
             \"ssl.ca.pem\" to the broker's CA"
        }
        23 => "the broker's certificate was revoked: give the broker another one",
        62 | 64 => {
            "the broker's certificate is made out to another host: use the name in the certificate in the URL and in the \
             broker's advertised.listeners, or give the broker a certificate for this name"
        }
        _ => "the broker's certificate is not good: look at it with `openssl s_client -connect host:port`",
    })
}

/// Watches the certificates of the brokers of a client that will be made of this configuration with such a context.
pub(crate) fn watch<C: Verifies>(native: &NativeClientConfig, config: &ClientConfig) {
    let encrypted = config
        .get("security.protocol")
        .is_some_and(|protocol| protocol.to_ascii_lowercase().ends_with("ssl"));
    let checked = config
        .get("enable.ssl.certificate.verification")
        .is_none_or(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0" | "f"));
    if encrypted && checked {
        // SAFETY: the configuration lives and is not given away yet. The callback has the signature that is asked for,
        // and finds the context that `Client::new` sets as the opaque.
        unsafe { c::rd_kafka_conf_set_ssl_cert_verify_cb(native.ptr(), Some(on_certificate::<C>)) };
    }
}

/// OpenSSL has looked at a certificate of the chain. What it found is kept, and never changed: with the callback set,
/// what it returns is what counts.
unsafe extern "C" fn on_certificate<C: Verifies>(
    _: *mut c::rd_kafka_t,
    _: *const c_char,
    _: i32,
    found: *mut c_int,
    _: c_int,
    _: *const c_char,
    _: usize,
    _: *mut c_char,
    _: usize,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: librdkafka gives a number that lives during the call, and the context of the client, which lives as long
    // as the client does.
    let (found, context) = unsafe { (found.as_ref(), opaque.cast::<C>().cast_const().as_ref()) };
    let Some(found) = found.copied() else { return 0 };
    if found == 0 {
        return 1;
    }
    if let Some(context) = context {
        context.certificate().0.store(found, Ordering::Relaxed);
    }
    0
}
