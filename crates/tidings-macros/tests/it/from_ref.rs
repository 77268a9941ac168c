//! `#[derive(FromRef)]`.

use std::sync::Arc;
use tidings::{FromRef as _, Raw, State, Subscription, on};
use tidings_macros::FromRef;

#[derive(Clone, Debug, PartialEq)]
struct Bank(&'static str);

#[derive(Clone, Debug, PartialEq)]
struct Mailer(u16);

#[derive(Clone, FromRef)]
struct Shop {
    bank: Bank,
    mailer: Arc<Mailer>,
    #[from_ref(skip)]
    spare: Bank,
    #[from_ref(skip)]
    _nobodys: u8,
}

fn shop() -> Shop {
    Shop {
        bank: Bank("first"),
        mailer: Arc::new(Mailer(25)),
        spare: Bank("spare"),
        _nobodys: 0,
    }
}

#[test]
fn each_field_that_is_not_skipped_is_a_part() {
    let shop = shop();
    assert_eq!(Bank::from_ref(&shop), Bank("first"));
    assert_ne!(shop.bank, shop.spare);
    let mailer = Arc::<Mailer>::from_ref(&shop);
    assert!(Arc::ptr_eq(&mailer, &shop.mailer));
}

#[test]
fn a_handler_takes_a_part_or_the_whole() {
    async fn part(_: Raw, State(bank): State<Bank>, _: State<Arc<Mailer>>) {
        let _ = bank.0;
    }
    async fn whole(_: Raw, State(shop): State<Shop>) {
        let _ = shop.bank;
    }
    let one: Subscription<Shop> = on("orders", part);
    let other: Subscription<Shop> = on("orders", whole);
    assert_eq!(one.into_parts().kind(), other.into_parts().kind());
}

#[derive(FromRef)]
struct Pair(Bank, Vec<u8>);

#[test]
fn a_tuple_struct_has_parts_too() {
    let pair = Pair(Bank("only"), vec![7]);
    assert_eq!(Bank::from_ref(&pair), Bank("only"));
    assert_eq!(Vec::<u8>::from_ref(&pair), [7]);
}

#[derive(FromRef)]
struct With<B>
where
    B: Send,
{
    bank: Arc<B>,
    #[from_ref(skip)]
    bare: B,
}

#[test]
fn a_generic_state_hands_out_what_holds_its_parameter() {
    let with = With {
        bank: Arc::new(Bank("generic")),
        bare: Bank("bare"),
    };
    assert_eq!(*Arc::<Bank>::from_ref(&with), Bank("generic"));
    assert_eq!(with.bare, Bank("bare"));
}
