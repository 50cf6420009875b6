//! The views that are built in, files with errors, and filters of rows.

use super::*;

#[test]
fn built_in_views_are_valid() {
    let views = Views::built_in();
    for entry in views.entries() {
        let view = entry.view.as_ref().unwrap_or_else(|error| panic!("{error}"));
        views.check_enter(view).unwrap_or_else(|error| panic!("{error}"));
    }
}
