//! What belongs together across services: [`TraceParent`].

use crate::hexadecimal::{digits, long_digits};

/// The `traceparent` header of W3C Trace Context, level 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceParent {
    /// Bytes of the header.
    pub(crate) const LENGTH: usize = 55;

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let sized = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
        if !sized || version == "ff" {
            return None;
        }
        let parsed = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        };
        (parsed.trace != 0 && parsed.span != 0).then_some(parsed)
    }

    /// A new span in the cause's trace, or in a new one.
    pub(crate) fn next(cause: Option<Self>, random: &mut fastrand::Rng) -> Self {
        // Any number but 0. A range would cost a division, of 128 bits even.
        let span = random.u64(..).max(1);
        cause.map_or_else(
            || Self {
                trace: random.u128(..).max(1),
                span,
                flags: 0,
            },
            |cause| Self { span, ..cause },
        )
    }
}

impl TraceParent {
    /// `00-` trace `-` span `-` flags, in lower-case hexadecimal.
    pub(crate) fn encode(self) -> [u8; Self::LENGTH] {
        let mut text = *b"00-                                -                -00";
        text[3..35].copy_from_slice(&long_digits(self.trace));
        text[36..44].copy_from_slice(&digits((self.span >> 32) as u32));
        text[44..52].copy_from_slice(&digits(self.span as u32));
        text[53..].copy_from_slice(&digits(self.flags.into())[6..]);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_written_as_it_is_read() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
        let trace = TraceParent::parse(text).unwrap();
        assert_eq!(trace.encode().as_slice(), text.as_bytes());
        let next = TraceParent::next(Some(trace), &mut fastrand::Rng::new());
        assert_eq!((next.trace, next.flags), (trace.trace, trace.flags));
        assert_ne!(next.span, trace.span);
        for malformed in [
            "",
            "00-1-2-3",
            "ff-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "é",
        ] {
            assert!(TraceParent::parse(malformed).is_none(), "{malformed}");
        }
    }
}
