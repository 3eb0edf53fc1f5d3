"""How fast is the page, how soon does it show what happens, and what do open pages cost?"""
