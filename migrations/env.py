"""Alembic's entry: run the migrations on the connection that ``gradvitals_service.migrating`` hands over.

That connection already holds the lock and the transaction. With the bare ``alembic`` command nothing is handed over;
use ``gradvitals-service migrate``.
"""

from alembic import context
from alembic.util import CommandError

# Every domain's tables must be known before they are compared with the database.
from gradvitals_service.alerts import models as _alerts  # noqa: F401
from gradvitals_service.checkpoints import models as _checkpoints  # noqa: F401
from gradvitals_service.database import Base
from gradvitals_service.health import models as _health  # noqa: F401
from gradvitals_service.ingest import models as _ingest  # noqa: F401
from gradvitals_service.projects import models as _projects  # noqa: F401
from gradvitals_service.runs import models as _runs  # noqa: F401
from gradvitals_service.series import models as _series  # noqa: F401

connection = context.config.attributes.get("connection")
if connection is None:
    raise CommandError("migrations run through `gradvitals-service migrate`, which knows the database and locks it")

context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
