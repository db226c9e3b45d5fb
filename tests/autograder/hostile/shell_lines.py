# ruff: noqa
# Shell lines and magics of every kind.
# expect: right
# honest: before
get_ipython().system("touch SECRET.shell")
get_ipython().run_line_magic("run", "SECRET")
get_ipython().run_cell_magic("bash", "", "touch SECRET.shell")
get_ipython().getoutput("cat SECRET")
