"""What `flows init` does: options in, the files of a new project out."""
