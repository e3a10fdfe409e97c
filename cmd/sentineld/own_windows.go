package main

const noFollow = 0

// isOwn: the home directory is that of the user who is logged in.
func isOwn(string) bool { return true }
