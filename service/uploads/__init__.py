"""Files that clients send or name: what they are, judged in a process of its own before anything is built on them."""
