//! `#[handler]`: the function as it is, and one assertion for each thing that a handler must be.
//!
//! Why: `on("orders", charge)` can only say that `charge` is not a handler. An assertion points to the part that is
//! wrong. What can be seen in the signature alone is checked here (`signature`); what only types tell is left to the
//! compiler (`assertions`).

mod assertions;
mod result;
mod signature;

use crate::attributes::{Errors, Keys, crate_value, default_crate, expect_value};
use proc_macro2::TokenStream;
use quote::quote;
use signature::Handler;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Ident, Item, Path, Result, Type};

/// The function, followed by assertions or errors.
pub(crate) fn expand(options: TokenStream, tokens: TokenStream) -> TokenStream {
    let function = match syn::parse2::<Item>(tokens.clone()) {
        Ok(Item::Fn(function)) => function,
        Ok(item) => {
            let said = "`#[handler]` belongs on an `async fn`";
            let error = Error::new_spanned(item, said).to_compile_error();
            return quote!(#tokens #error);
        }
        // The compiler says best what is wrong with text that is not Rust, and an editor goes on helping.
        Err(_) => return tokens,
    };
    let mut errors = Errors::default();
    let mut read = Options::default();
    errors.keep(read.read(options));
    let handler = errors.keep(Handler::read(&function));
    let added = match errors.into_result() {
        Ok(()) => handler.map(|handler| assertions::generate(&read, &handler)),
        Err(error) => Some(error.to_compile_error()),
    };
    quote!(#tokens #added)
}

/// What stands in the parentheses.
struct Options {
    /// The state of the app, or none if it was not told.
    state: Option<Type>,
    tidings: Path,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            state: None,
            tidings: default_crate(),
        }
    }
}

impl Options {
    fn read(&mut self, options: TokenStream) -> Result<()> {
        let mut keys = Keys::new("handler", &["state", "crate"]);
        let parser = |input: ParseStream<'_>| keys.read_list(input, |key, value| self.take(key, value));
        parser.parse2(options)
    }

    fn take(&mut self, key: &Ident, value: ParseStream<'_>) -> Result<()> {
        if key == "state" {
            expect_value(key, value, "Shop")?;
            self.state = Some(value.parse()?);
        } else {
            self.tidings = crate_value(key, value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands before the assertions or errors.
    fn check_kept(function: &TokenStream) {
        let expanded = expand(TokenStream::new(), function.clone()).to_string();
        let kept = function.to_string();
        assert!(
            expanded.starts_with(&kept),
            "{expanded} does not begin with {kept}"
        );
    }

    #[test]
    fn the_function_stays_as_it_is_whether_it_is_a_handler_or_not() {
        let functions = [
            quote!(
                #[doc = "charges"]
                pub(crate) async fn charge(Json(order): Json<Order>) -> () {
                    order.take()
                }
            ),
            quote!(
                fn not_async(&self, order: &Order) {}
            ),
            quote!(
                struct NoFunction;
            ),
        ];
        for function in &functions {
            check_kept(function);
        }
    }

    #[test]
    fn text_that_is_not_rust_is_left_to_the_compiler() {
        let unfinished = quote!(async fn charge(order: Json<Order>) { let a = ; });
        let expanded = expand(TokenStream::new(), unfinished.clone());
        assert_eq!(expanded.to_string(), unfinished.to_string());
    }

    #[test]
    fn a_function_that_is_not_compiled_has_no_assertions_either() {
        let function = quote!(
            #[cfg(windows)]
            async fn charge(order: Json<Order>) {}
        );
        let expanded = expand(TokenStream::new(), function).to_string();
        assert_eq!(expanded.matches("# [cfg (windows)]").count(), 2, "{expanded}");
    }
}
