// Package importtest has no code of its own: its tests hold the rules that span packages, namely which package may
// import which, that every package says what it is for, that files stay readable, and that the tree names no place
// outside itself.
package importtest
