"""One self-contained page about runs: `facts` of each, drawn by `charts`, laid out by `page`."""
