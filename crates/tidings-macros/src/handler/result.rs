//! What a handler returns, taken apart: an error about `Order` helps more than one about `Result<Vec<Order>, Failure>`.

use super::signature::last_segment;
use syn::{GenericArgument, PathArguments, Type};

/// The types in a result that the compiler is asked about.
#[derive(Default)]
pub(super) struct Returned<'a> {
    /// What must be an outcome by itself.
    pub(super) outcome: Option<&'a Type>,
    /// What must be `Failure`.
    pub(super) error: Option<&'a Type>,
}

impl<'a> Returned<'a> {
    /// Looks into `Result`, `Option` and `Vec`; what else has generic arguments is asked about as a whole.
    pub(super) fn of(ty: &'a Type) -> Self {
        let (name, arguments) = named(ty);
        match (name.as_str(), arguments.as_slice()) {
            ("Option" | "Vec", [some]) => Self::of(some),
            ("Result", [handled, error]) => {
                let inner = Self::of(handled);
                Self {
                    outcome: inner.outcome,
                    error: inner.error.or(Some(error)),
                }
            }
            _ => Self {
                outcome: Some(ty),
                error: None,
            },
        }
    }
}

/// The last name of a path and its type arguments; no arguments if one is something else.
fn named(ty: &Type) -> (String, Vec<&Type>) {
    let Some(segment) = last_segment(ty) else {
        return (String::new(), Vec::new());
    };
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(list) => list
            .args
            .iter()
            .map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            })
            .collect::<Option<Vec<_>>>(),
        _ => None,
    };
    (segment.ident.to_string(), arguments.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::readable;
    use syn::parse_quote;

    #[test]
    fn what_is_asked_about_is_the_innermost_type() {
        let cases: [(Type, &str, Option<&str>); 7] = [
            (parse_quote!(Order), "Order", None),
            (parse_quote!(Option<Order>), "Order", None),
            (parse_quote!(Result<Order, Failure>), "Order", Some("Failure")),
            (
                parse_quote!(std::result::Result<Vec<Order>, io::Error>),
                "Order",
                Some("io::Error"),
            ),
            (parse_quote!(Vec<Result<Order, Wrong>>), "Order", Some("Wrong")),
            (parse_quote!(crate::Result<Order>), "crate::Result<Order>", None),
            (parse_quote!(Changed<Order>), "Changed<Order>", None),
        ];
        for (ty, outcome, error) in cases {
            let returned = Returned::of(&ty);
            assert_eq!(returned.outcome.map(readable).as_deref(), Some(outcome));
            assert_eq!(returned.error.map(readable).as_deref(), error, "{outcome}");
        }
    }
}
