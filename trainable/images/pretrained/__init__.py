"""Networks that have seen other images, and the features that methods on single images take from them."""
