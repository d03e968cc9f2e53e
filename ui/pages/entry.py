"""What the server runs for every page: `ui.app`.

It stands here because Streamlit takes a folder `pages` beside the script it runs for pages of its own, and would run
those files, which draw nothing by themselves, for the first visitor whose address names one.
"""

from ui.app import main

main()
