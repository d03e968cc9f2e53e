"""The two faces of matlit: the command line and the web app."""
