//! Line icons, one for each service.

use crate::service::Service;

/// The inner markup of a 24 × 24 icon that is drawn with strokes.
pub(super) fn strokes(service: Service) -> &'static str {
    match service {
        Service::Order => {
            r#"<path d="M5 8h14l-1.2 11.2a1 1 0 0 1-1 .8H7.2a1 1 0 0 1-1-.8L5 8Z"/><path d="M9 8V7a3 3 0 0 1 6 0v1"/>"#
        }
        Service::Inventory => {
            r#"<path d="M4 20V5m16 15V5M4 10h16M4 17h16"/><path d="M7 10V6h4v4m2 7v-4h4v4M7 17v-3h3v3"/>"#
        }
        Service::Payment => {
            r#"<rect x="3.5" y="6" width="17" height="12" rx="2"/><path d="M3.5 10h17M7 14.5h3"/>"#
        }
        Service::Shipping => {
            r#"<path d="M12 3.5 20 8v8l-8 4.5L4 16V8l8-4.5Z"/><path d="m4.3 8 7.7 4.3L19.7 8M12 12.3v8M8 5.8l7.8 4.4"/>"#
        }
        Service::Billing => {
            r#"<path d="M6.5 3.5h11v17l-2.2-1.6-2.2 1.6-2.2-1.6-2.2 1.6-2.2-1.6v-15.4Z"/><path d="M9.5 8.5h5m-5 4h5"/>"#
        }
        Service::Notification => {
            r#"<rect x="3.5" y="6" width="17" height="12.5" rx="2"/><path d="m4 7.5 8 6 8-6"/>"#
        }
        Service::Analytics => r#"<path d="M4 20h16M7 16.5v-4m5 4V6m5 10.5v-7"/>"#,
    }
}
