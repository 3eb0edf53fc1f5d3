"""Who looks and acts on the page.

Nobody has an account yet: whoever may read is taken for the operating system's user that runs the service.
"""

import getpass
from typing import Annotated

from fastapi import Depends

NOBODY_KNOWN = "someone"


def viewer() -> str:
    """The name under which whoever asks acts."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return NOBODY_KNOWN


ViewerDep = Annotated[str, Depends(viewer)]
