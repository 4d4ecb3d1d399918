//! Edits that cannot be made, and what is said.

use super::*;

#[test]
fn what_is_not_there_is_named_with_what_may_be_meant() {
    let error = remove_backend(FILE, &service("webb"), &backend("web1")).unwrap_err();
    assert_eq!(error.to_string(), "there is no service \"webb\"; did you mean \"web\"?");
    let error = remove_backend(FILE, &service("web"), &backend("wbe2")).unwrap_err();
    assert_eq!(error.to_string(), "service \"web\" has no backend \"wbe2\"; did you mean \"web2\"?");
    let error = set_backend(FILE, &service("web"), &backend("x"), None, None, None).unwrap_err();
    assert_eq!(error.to_string(), "service \"web\" has no backend \"x\"; there are: web1, web2");
    assert!(matches!(add_backend(FILE, &service("nix"), &web3()), Err(EditError::NoService { .. })));
}

#[test]
fn what_is_there_already_is_not_added_again() {
    let mut web1 = web3();
    web1.name = backend("web1");
    let error = add_backend(FILE, &service("web"), &web1).unwrap_err();
    assert_eq!(error.to_string(), "service \"web\" has a backend \"web1\" already");
}

#[test]
fn a_text_that_is_no_toml_is_not_edited() {
    let error = add_backend("[service.web\n", &service("web"), &web3()).unwrap_err();
    assert!(error.to_string().starts_with("the file is not TOML: "), "{error}");
}
