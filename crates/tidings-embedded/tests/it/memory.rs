use crate::support::*;
use tidings_core::{Binder, BinderError};
use tidings_embedded::{EmbeddedBroker, EmbeddedOptions};

fn named(name: &str) -> EmbeddedBroker {
    EmbeddedBroker::open(EmbeddedOptions::from_url(&format!("memory:{name}")).unwrap()).unwrap()
}

#[tokio::test]
async fn brokers_of_one_name_are_one_until_all_are_closed() {
    let (first, second) = (named("shared"), named("shared"));
    prepare(&first, "orders", 1).await;
    publish(&first, "orders", 0, "tea").await.unwrap();
    assert_eq!(count(&second, "orders").await, 1);
    first.close().await.unwrap();
    assert!(matches!(first.destinations().await, Err(BinderError::Closed)));
    publish(&second, "orders", 0, "still there").await.unwrap();
    let third = named("shared");
    assert_eq!(count(&third, "orders").await, 2);
    second.close().await.unwrap();
    drop(third);
    assert!(named("shared").destinations().await.unwrap().is_empty());
}

#[tokio::test]
async fn brokers_without_a_name_and_of_other_names_are_private() {
    let (one, other, named) = (memory(), memory(), named("other"));
    prepare(&one, "orders", 1).await;
    assert!(other.destinations().await.unwrap().is_empty());
    assert!(named.destinations().await.unwrap().is_empty());
}
