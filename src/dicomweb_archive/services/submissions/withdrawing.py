"""Withdrawing: a published study is hidden at once, and waits for a decision in a submission of its own."""

from dataclasses import dataclass

from dicomweb_archive.errors import ForbiddenError
from dicomweb_archive.index.curation.withdrawal import Withdrawal, Withdrawn
from dicomweb_archive.services.access import Principal, Role, require
from dicomweb_archive.services.submissions.transitions import Reason


@dataclass(frozen=True, slots=True)
class WithdrawingService:
    """Withdraws published studies."""

    withdrawal: Withdrawal

    async def withdraw(
        self, principal: Principal, study_instance_uid: str, reason: Reason, comment: str = ""
    ) -> Withdrawn:
        """Withdraw a study; who asks for it is told the reason from then on.

        Raises:
            UnauthenticatedError, ForbiddenError: it is for managers of the study's collection.
            GoneError: it was deleted or withdrawn before.
            NotFoundError: there is none.
        """
        require(principal, Role.MANAGER)
        home = await self.withdrawal.find_home(study_instance_uid, principal.sees)
        if not principal.has(Role.MANAGER, home):
            message = (
                f"this needs the role {Role.MANAGER.value} in the study's collection, which your key does not give"
            )
            raise ForbiddenError(message)
        return await self.withdrawal.withdraw(
            study_instance_uid, home, actor=principal.name, reason=reason.value, comment=comment
        )
