//! The whole story of a booking, lived through by the real loop in seconds: a page gets slow → booked → the vendor
//! moves it → the school agrees → the window opens and closes → observed → judged → accepted; with relapses, and
//! with a refusal. The vendor answers by files; `story_vendors.rs` has the same with real servers.

mod desk;
mod school;

use desk::{Desk, back_after_the_verdict, set_up_anew, to_the_end, with_a_refusal, with_a_relapse, with_desk};

// One test: the page is one.
#[tokio::test]
async fn from_a_fault_to_its_acceptance_with_relapses_and_a_refusal_and_on_a_box_that_is_set_up_anew() {
    let beside_the_state = Desk::Folder(None);
    with_desk(&beside_the_state, async |story| drop(to_the_end(story).await)).await;
    with_desk(&beside_the_state, with_a_relapse).await;
    with_desk(&beside_the_state, back_after_the_verdict).await;
    with_desk(&beside_the_state, with_a_refusal).await;

    let folder = tempfile::tempdir().expect("a folder");
    set_up_anew(&Desk::Folder(Some(folder.path().to_owned()))).await;
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
}
